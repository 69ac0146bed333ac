"""What an analysis and its executor say to each other, byte by byte."""
