"""``python -m pylingo`` is the client, as ``pylingo`` is."""

from pylingo.client import main

if __name__ == "__main__":
    main()
