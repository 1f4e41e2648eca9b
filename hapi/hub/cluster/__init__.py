"""Several hubs that serve one database: who is at home where, and what they tell each other."""
