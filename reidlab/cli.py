"""The `reidlab` command."""


def main() -> None: ...
