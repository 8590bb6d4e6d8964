import CLinux
import Glibc

/// The terminal of a program that draws its whole window: keys come one by one and unseen, until this ends.
public struct Terminal: ~Copyable {
    private let before: termios

    private init(before: termios) {
        self.before = before
    }

    /// Takes the terminal over; nil where standard input or output is none.
    public static func take() -> Terminal? {
        guard isHere else { return nil }
        var settings = termios()
        // Sound: the settings live during the call.
        guard unsafe tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        let before = settings
        // Ctrl-C comes as a key, so that the window is always given back.
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
        settings.c_iflag &= ~tcflag_t(IXON | ICRNL)
        // VTIME and VMIN: a read never waits.
        settings.c_cc.5 = 0
        settings.c_cc.6 = 0
        // Sound: as above.
        guard unsafe tcsetattr(STDIN_FILENO, TCSANOW, &settings) == 0 else { return nil }
        return Terminal(before: before)
    }

    deinit {
        var settings = before
        // Sound: as above.
        _ = unsafe tcsetattr(STDIN_FILENO, TCSANOW, &settings)
    }

    /// Whether standard input and output are a terminal.
    public static var isHere: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    /// How many characters fit side by side, and how many lines; 80 and 24 where nobody says.
    public static var size: (columns: Int, rows: Int) {
        var window = winsize()
        // Sound: the system writes one value into memory that lives during the call.
        let result = unsafe withUnsafeMutablePointer(to: &window) { memory in
            SystemCall.run {
                system_call(
                    Int(SYS_ioctl), Int(STDOUT_FILENO), Int(TIOCGWINSZ), Int(bitPattern: memory), 0,
                    0, 0)
            }
        }
        guard result == 0, window.ws_col > 0, window.ws_row > 0 else { return (80, 24) }
        return (Int(window.ws_col), Int(window.ws_row))
    }

    /// A key that was pressed; nil when none was within so many milliseconds, 0xFF when there is no keyboard any more.
    public func readKey(timeoutMilliseconds: Int32) -> UInt8? {
        guard poll(STDIN_FILENO, timeoutMilliseconds: timeoutMilliseconds) else { return nil }
        var key: UInt8 = 0
        // Sound: room for the one byte that is asked for.
        let count = SystemCall.run { unsafe Glibc.read(STDIN_FILENO, &key, 1) }
        return count == 1 ? key : 0xFF
    }
}
