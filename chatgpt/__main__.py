"""`python -m chatgpt` is the command `chatgpt`."""

from chatgpt.cli import main

if __name__ == "__main__":
    main()
