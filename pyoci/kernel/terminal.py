"""A terminal in raw mode, and back again.  Cold: only who has a terminal loads it.  termios(3), cfmakeraw(3)"""

import termios


def make_raw(fd):
    """Put the terminal in raw mode.  Returns what `restore` wants; None where fd is no terminal."""
    try:
        saved = termios.tcgetattr(fd)
    except termios.error:
        return None
    mode = [*saved[:6], list(saved[6])]
    mode[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                 | termios.ICRNL | termios.IXON)  # fmt: skip
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)
    return saved


def restore(fd, saved):
    """Give the terminal back as it was; nothing for None, or where it hung up."""
    if saved is not None:
        try:
            termios.tcsetattr(fd, termios.TCSANOW, saved)
        except termios.error:
            pass
