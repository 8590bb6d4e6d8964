import HTTP

/// Names that a processor may not speak about.
enum FieldRules {
    /// Whether a field is about one connection or about how content is framed, which are the gateway's own.
    static func isOfConnection(_ name: Span<UInt8>) -> Bool {
        is_(name, "connection") || is_(name, "transfer-encoding") || is_(name, "te")
            || is_(name, "upgrade") || is_(name, "keep-alive") || is_(name, "proxy-connection")
            || is_(name, "trailer")
    }

    /// Whether a processor may set or remove it.
    static func isOpen(_ name: Span<UInt8>) -> Bool {
        if name.isEmpty || name[0] == 0x3A { return false }
        if is_(name, "host") || isOfConnection(name) { return false }
        let envoy = ByteScan.bytes("x-envoy-")
        return name.count < envoy.count
            || !ByteScan.equalFolding(name.extracting(first: envoy.count), envoy)
    }

    /// Whether it is written with the characters of a name (RFC 9110 §5.1).
    static func isName(_ name: Span<UInt8>) -> Bool {
        for at in 0..<name.count {
            switch name[at] {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E,
                0x5E...0x60, 0x7C, 0x7E:
                continue
            default: return false
            }
        }
        return !name.isEmpty
    }

    /// Whether a value can stand on a line: no control character but the tab.
    static func isValue(_ value: Span<UInt8>) -> Bool {
        for at in 0..<value.count where value[at] < 0x20 && value[at] != 0x09 || value[at] == 0x7F {
            return false
        }
        return true
    }

    private static func is_(_ name: Span<UInt8>, _ wanted: StaticString) -> Bool {
        name.count == wanted.utf8CodeUnitCount
            && ByteScan.equalFolding(name, ByteScan.bytes(wanted))
    }
}

/// What a processor's HeaderMutation makes of a head.
///
/// A field that is set replaces all of its name, unless it asks to be appended: in this protocol «append» that was not said
/// means no. Names of the connection, of the framing, `host`, `:…` and `x-envoy-*` stay as they are, and so does
/// what is not a name or not a value.
public struct HeadMutation: Sendable {
    private let range: Range<Int>
    /// What `content-length` was set to.
    public private(set) var contentLength: UInt64?
    /// What `x-gateway-destination-endpoint` was set to.
    public private(set) var destination: Range<Int>?

    /// The mutation at this range of a message; nil when it is malformed.
    public init?(_ message: Span<UInt8>, _ range: Range<Int>) {
        self.range = range
        var fields = WireFields(range)
        while let field = fields.next(message) {
            guard field.isBytes(1) else { continue }
            guard let option = HeaderOption(message, field.range) else { return nil }
            let name = message.extracting(option.name)
            if ByteScan.equalFolding(name, ByteScan.bytes("content-length")) {
                contentLength = HeadMutation.number(message.extracting(option.value))
            }
            if ByteScan.equalFolding(name, ByteScan.bytes("x-gateway-destination-endpoint")) {
                destination = option.value
            }
        }
        if fields.isMalformed { return nil }
    }

    private static func number(_ text: Span<UInt8>) -> UInt64? {
        if text.isEmpty || text.count > 18 { return nil }
        var number: UInt64 = 0
        for at in 0..<text.count {
            let digit = text[at] &- 0x30
            if digit > 9 { return nil }
            number = number * 10 + UInt64(digit)
        }
        return number
    }

    /// How a head says its content is framed.
    public enum Framing: Sendable, BitwiseCopyable {
        /// As it stands in the head.
        case asItIs
        case length(UInt64)
        case chunked
    }

    /// Appends the head with the changes, and another framing where it gets one; false when it does not fit.
    public func append(
        _ head: Span<UInt8>, _ message: Span<UInt8>, framing: Framing,
        into output: inout OutputSpan<UInt8>
    ) -> Bool {
        var lines = HeadText(head)
        guard ByteScan.append(head.extracting(lines.start), to: &output),
            ByteScan.append("\r\n", to: &output)
        else { return false }
        while let line = lines.next(head) {
            let name = head.extracting(line.name)
            if !keeps(name, message, framing) { continue }
            if !ByteScan.append(head.extracting(line.all), to: &output) { return false }
        }
        return appendSet(head, message, into: &output)
            && HeadMutation.append(framing, into: &output)
            && ByteScan.append("\r\n", to: &output)
    }

    private static func append(
        _ framing: Framing, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        switch framing {
        case .asItIs: true
        case .chunked: ByteScan.append("transfer-encoding: chunked\r\n", to: &output)
        case .length(let count):
            ByteScan.append("content-length: ", to: &output)
                && HeadWriter.append(decimal: count, into: &output)
                && ByteScan.append("\r\n", to: &output)
        }
    }

    /// Appends the lines that a mutation sets, for a head that is the gateway's own.
    public func appendSet(
        _ head: Span<UInt8>, _ message: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        var fields = WireFields(range)
        while let field = fields.next(message) {
            guard field.isBytes(1), let option = HeaderOption(message, field.range),
                option.isUsable(message), option.isNotEmpty,
                !option.replaces || !isReplaced(option.name, after: fields, message)
            else { continue }
            let name = message.extracting(option.name)
            if option.needsAbsence, HeadMutation.has(head, name) { continue }
            if option.needsPresence, !HeadMutation.has(head, name) { continue }
            guard output.freeCapacity >= option.name.count else { return false }
            for at in 0..<name.count { output.append(ByteScan.lowered(name[at])) }
            guard ByteScan.append(": ", to: &output),
                ByteScan.append(message.extracting(option.value), to: &output),
                ByteScan.append("\r\n", to: &output)
            else { return false }
        }
        return true
    }

    /// Whether a later field of the mutation stands in for this name.
    private func isReplaced(
        _ name: Range<Int>, after rest: WireFields, _ message: Span<UInt8>
    ) -> Bool {
        var fields = rest
        while let field = fields.next(message) {
            guard field.isBytes(1), let option = HeaderOption(message, field.range),
                option.replaces,
                HeadMutation.isSame(
                    message.extracting(option.name), message.extracting(name))
            else { continue }
            return true
        }
        return false
    }

    private static func has(_ head: Span<UInt8>, _ name: Span<UInt8>) -> Bool {
        var lines = HeadText(head)
        while let line = lines.next(head) {
            if isSame(head.extracting(line.name), name) { return true }
        }
        return false
    }

    /// Whether two names are the same, whatever their letters' case.
    private static func isSame(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        if a.count != b.count { return false }
        for at in 0..<a.count where ByteScan.lowered(a[at]) != ByteScan.lowered(b[at]) {
            return false
        }
        return true
    }

    /// Whether a line of this name stays.
    private func keeps(
        _ name: Span<UInt8>, _ message: Span<UInt8>, _ framing: Framing
    ) -> Bool {
        let isLength = ByteScan.equalFolding(name, ByteScan.bytes("content-length"))
        let isCoding = ByteScan.equalFolding(name, ByteScan.bytes("transfer-encoding"))
        if isLength || isCoding {
            if case .asItIs = framing { return true }
            return false
        }
        if !FieldRules.isOpen(name) { return true }
        var fields = WireFields(range)
        while let field = fields.next(message) {
            if field.isBytes(2), HeadMutation.isSame(message.extracting(field.range), name) {
                return false
            }
            guard field.isBytes(1), let option = HeaderOption(message, field.range),
                option.replaces, option.isUsable(message)
            else { continue }
            if HeadMutation.isSame(message.extracting(option.name), name) { return false }
        }
        return true
    }
}

/// One HeaderValueOption of Envoy's API, which has the same form wherever heads are edited.
struct HeaderOption {
    var name = 0..<0
    var value = 0..<0
    private(set) var append: Bool?
    private(set) var action: UInt64 = 0
    private var keepsEmpty = false

    init?(_ message: Span<UInt8>, _ range: Range<Int>) {
        var fields = WireFields(range)
        while let field = fields.next(message) {
            if field.isBytes(1), !readField(message, field.range) { return nil }
            if field.isBytes(2) {
                append = false
                var wrapped = WireFields(field.range)
                while let inner = wrapped.next(message) {
                    if inner.isNumber(1) { append = inner.value != 0 }
                }
            }
            if field.isNumber(3) { action = field.value }
            if field.isNumber(4) { keepsEmpty = field.value != 0 }
        }
        if fields.isMalformed { return nil }
    }

    private mutating func readField(_ message: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var fields = WireFields(range)
        while let field = fields.next(message) {
            if field.isBytes(1) { name = field.range }
            if field.isBytes(2) || field.isBytes(3), !field.range.isEmpty { value = field.range }
        }
        return !fields.isMalformed
    }

    /// It stands in for what there was: the action of 0 says «append», but neither EPP means it so.
    var replaces: Bool { append.map { !$0 } ?? (action == 0 || action == 2 || action == 3) }
    var needsAbsence: Bool { append == nil && action == 1 }
    var needsPresence: Bool { append == nil && action == 3 }
    var isNotEmpty: Bool { !value.isEmpty || keepsEmpty }

    func isUsable(_ message: Span<UInt8>) -> Bool {
        let text = message.extracting(name)
        return FieldRules.isOpen(text) && FieldRules.isName(text)
            && !ByteScan.equalFolding(text, ByteScan.bytes("content-length"))
            && FieldRules.isValue(message.extracting(value))
    }
}
