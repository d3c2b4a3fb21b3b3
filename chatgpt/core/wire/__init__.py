"""What travels, as typed dictionaries, under the names of the reference."""
