"""The page: components, what clicks do, and what they show."""
