"""`python -m lacewing`, and what `accelerate launch -m lacewing` runs."""

from lacewing.cli import main

if __name__ == "__main__":
    main()
