"""Request and response bodies. Unknown fields are refused, strings are bounded, numbers are finite."""
