"""Start the page: `python app.py`; `python app.py --help` lists what can be set."""

import logging

from aigc_demo.settings import read


def main() -> None:
    settings = read()
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    # gradio is slow to import: --help and a wrong argument are answered before it
    from aigc_demo.engine import Engine
    from aigc_demo.shell import build, serve

    page, say = build(Engine(settings))
    serve(page, say, settings)


if __name__ == "__main__":
    main()
