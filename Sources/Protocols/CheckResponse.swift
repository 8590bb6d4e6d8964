import HTTP

/// What `envoy.service.auth.v3.Authorization/Check` answers (a CheckResponse), as places in its message.
///
/// Dynamic metadata and parameters of the query to set or remove are read over.
public struct CheckResponse: Sendable {
    /// The request may pass.
    public private(set) var isAllowed = false
    /// Of a denial: the client's status, 403 where it says none, and content.
    public private(set) var status = 403
    public private(set) var content = 0..<0
    /// The OkHttpResponse, or the DeniedHttpResponse; empty for none.
    private var detail = 0..<0

    /// Reads a message; nil when it is none.
    public init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        var code: UInt64 = 0
        var ok = 0..<0
        var denied: Range<Int>?
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(1) {
                var status = WireFields(field.range)
                while let inner = status.next(bytes) { if inner.isNumber(1) { code = inner.value } }
                if status.isMalformed { return nil }
            }
            if field.isBytes(2) {
                denied = field.range
                ok = 0..<0
            }
            if field.isBytes(3) {
                ok = field.range
                denied = nil
            }
        }
        if fields.isMalformed { return nil }
        if code == 0 {
            // Who allows and denies at once has not allowed.
            if denied != nil { return nil }
            isAllowed = true
            detail = ok
            var inner = WireFields(ok)
            while let field = inner.next(bytes) {
                if field.isBytes(2) || field.isBytes(6),
                    HeaderOption(bytes, field.range) == nil
                {
                    return nil
                }
            }
            if inner.isMalformed { return nil }
        } else if let denied {
            if !readDenial(bytes, denied) { return nil }
        }
    }

    private mutating func readDenial(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        detail = range
        var fields = WireFields(range)
        while let field = fields.next(bytes) {
            if field.isBytes(1) {
                var code = WireFields(field.range)
                while let inner = code.next(bytes) {
                    if inner.isNumber(1), inner.value != 0 { status = Int(clamping: inner.value) }
                }
                if code.isMalformed { return false }
            }
            if field.isBytes(2), HeaderOption(bytes, field.range) == nil { return false }
            if field.isBytes(3) { content = field.range }
        }
        return !fields.isMalformed
    }

    /// Which head is edited.
    public enum Head: Sendable, BitwiseCopyable {
        /// The request's, on its way to the backend.
        case request
        /// The backend's answer's, on its way to the client.
        case answer
    }

    /// Appends what becomes of a head where the request may pass, as `HeadEdits`; false when it does not fit.
    ///
    /// A field of the request that is told without more stands in for the client's own. Names of the connection, of the
    /// framing, `host`, `:…` and `x-envoy-*` stay as they are.
    public func appendEdits(
        of head: Head, _ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard isAllowed else { return true }
        var fields = WireFields(detail)
        while let field = fields.next(bytes) {
            if head == .request, field.isBytes(5) {
                let name = bytes.extracting(field.range)
                if !FieldRules.isName(name) || !FieldRules.isOpen(name)
                    || ByteScan.equalFolding(name, ByteScan.bytes("content-length"))
                {
                    continue
                }
                if !HeadEdits.append(.remove, name, Span(), into: &output) { return false }
            }
            guard field.isBytes(head == .request ? 2 : 6),
                let option = HeaderOption(bytes, field.range), option.isUsable(bytes)
            else { continue }
            if !HeadEdits.append(
                option.edit(of: head), bytes.extracting(option.name),
                bytes.extracting(option.value), into: &output)
            {
                return false
            }
        }
        return true
    }

    /// Appends the lines of a denial's head.
    public func appendLines(
        _ bytes: Span<UInt8>, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard !isAllowed else { return true }
        var fields = WireFields(detail)
        while let field = fields.next(bytes) {
            guard field.isBytes(2), let option = HeaderOption(bytes, field.range),
                option.isUsable(bytes)
            else { continue }
            let name = bytes.extracting(option.name)
            guard output.freeCapacity >= name.count else { return false }
            for at in 0..<name.count { output.append(ByteScan.lowered(name[at])) }
            guard ByteScan.append(": ", to: &output),
                ByteScan.append(bytes.extracting(option.value), "\r\n", to: &output)
            else { return false }
        }
        return true
    }
}

extension HeaderOption {
    /// What an option asks for: of a request, not to say whether it is to be appended means no; of an answer, yes.
    fileprivate func edit(of head: CheckResponse.Head) -> HeadEdits.Edit {
        if let append { return append ? .add : .set }
        switch action {
        case 1: return .complete
        case 2: return .set
        case 3: return .replace
        default: return head == .request ? .set : .add
        }
    }
}
