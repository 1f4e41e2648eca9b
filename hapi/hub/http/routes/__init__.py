"""The routes of the hub: one module for each part of the REST API."""
