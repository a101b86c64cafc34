"""The classroom: training labs in the browser, for a class and who teaches it."""
