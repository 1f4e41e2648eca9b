"""What can be found, counted, saved and shown to others of the conversations that a hub keeps."""
