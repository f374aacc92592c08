"""The studio: a server on this machine and its page, where music is read, models are trained, and one plays with them."""
