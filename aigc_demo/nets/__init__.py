"""Networks of our own, for models that no library knows: trained in training/, run by generators/."""
