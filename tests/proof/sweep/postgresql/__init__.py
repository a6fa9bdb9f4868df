"""Django's PostgreSQL backend over connections that count."""
