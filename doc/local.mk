# doc: man pages and what is written for those who read the code.
