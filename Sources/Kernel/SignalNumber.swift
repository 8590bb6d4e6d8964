import Glibc

/// Numbers of the signals that the program follows.
public enum SignalNumber {
    public static var hangUp: Int32 { SIGHUP }
    public static var terminate: Int32 { SIGTERM }
    public static var interrupt: Int32 { SIGINT }
}
