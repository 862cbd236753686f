"""Programs over the library: the command line and the batch runner. Nothing else imports them."""
