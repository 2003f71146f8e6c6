"""`python -m ansatz` is the command `ansatz`."""

from ansatz.cli import main

if __name__ == "__main__":
    main()
