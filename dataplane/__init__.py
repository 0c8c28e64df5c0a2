"""The data plane: nodes that serve, learn within the request, log and meter. No Django here."""
