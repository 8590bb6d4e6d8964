extension RequestHead {
    /// Begins a request of our own in HTTP/1.1; false when a part is invalid or does not fit.
    ///
    /// `newTarget` is origin-form, or `*`, and is written as it stands. An empty `newAuthority`
    /// leaves Host out.
    public mutating func begin(
        method newMethod: Method, target newTarget: Span<UInt8>, authority newAuthority: Span<UInt8>
    ) -> Bool {
        clear()
        if newTarget.count + newAuthority.count + 16 > fields.bytes.freeCapacity { return false }
        version = .http11
        method = newMethod
        methodText = fields.keep(ByteScan.bytes(newMethod.text))
        if newMethod == .other || newTarget.isEmpty { return false }
        let isAsterisk = newTarget.count == 1 && newTarget[0] == 0x2A
        if newTarget[0] != 0x2F && !isAsterisk { return false }
        if ByteScan.graphicEnd(newTarget, from: 0, to: newTarget.count) < newTarget.count {
            return false
        }
        target = fields.keep(newTarget)
        let start = Int(target.start)
        let mark = ByteScan.first(0x3F, newTarget, from: 0, to: newTarget.count)
        path = ByteRange(start..<(start + mark))
        if mark < newTarget.count { query = ByteRange((start + mark + 1)..<target.end) }
        if newAuthority.isEmpty { return true }
        return takeAuthority(newAuthority)
    }

    /// Forgets everything of an earlier message.
    private mutating func clear() {
        fields.bytes.removeAll()
        fields.removeAllLines()
        method = .other
        methodText = .none
        target = .none
        path = .none
        query = .none
        authority = .none
        host = .none
        hostPort = nil
        framing = .none
        sentFraming = nil
        keepsAlive = true
        expectsContinue = false
        acceptsTrailers = false
        upgrade = .none
        writesHost = false
        namesFields = false
        isLineCanonical = false
        lineEnd = 0
    }

    /// Keeps a valid authority and its host; false when it is invalid or does not fit.
    private mutating func takeAuthority(_ value: Span<UInt8>) -> Bool {
        let base = fields.bytes.count
        authority = fields.keep(value)
        if authority.isNone { return false }
        writesHost = true
        return HeadParser.takeHost(&self, value, base: base) == nil
    }
}
