"""`python -m sallyport.cli`: the command line without its console script."""

from sallyport.cli import main

if __name__ == "__main__":
    main()
