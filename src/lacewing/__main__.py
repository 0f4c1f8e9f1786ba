"""`python -m lacewing`, and what `accelerate launch -m lacewing` runs."""

from lacewing.cli.app import main

if __name__ == "__main__":
    main()
