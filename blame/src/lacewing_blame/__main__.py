"""`python -m lacewing_blame` is `lacewing-blame`."""

from lacewing_blame.cli import main

main()
