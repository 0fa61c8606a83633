"""Sizes in words: decimal units as docker shows images, binary ones as it shows memory."""


def human_size(count, digits=3):
    """Decimal units with three digits: 1.24MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.{digits}g}{unit}" if size < 1000 else f"{size:.0f}{unit}"
        size /= 1000
    return ""


def binary_size(count):
    """Binary units with four digits: 1.953MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024 or unit == "PiB":
            return f"{size:.4g}{unit}"
        size /= 1024
    return ""
