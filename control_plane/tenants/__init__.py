"""Organizations pay, projects isolate: who may do what, with which key, and the record of what they did."""
