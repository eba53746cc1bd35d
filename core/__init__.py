"""The inner ring: settings, errors, domain types, ports and use cases. No framework is imported here."""
