"""Views to click through, in JupyterLab and Voila: each has a static twin."""
