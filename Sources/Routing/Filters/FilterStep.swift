import BasicContainers
import HTTP

/// One edit of a head, compiled from a filter.
enum FilterStep: BitwiseCopyable, Sendable {
    /// Replaces all lines of a name by one.
    case setField(name: ArenaRange, value: ArenaRange)
    /// Adds a line.
    case addField(name: ArenaRange, value: ArenaRange)
    /// Drops all lines of a name.
    case removeField(name: ArenaRange)
    /// Replaces Host.
    case rewriteHost(ArenaRange)
    /// Replaces the path.
    case rewritePath(PathRewrite)
    /// Answers with a redirect; index of `Table.redirects`.
    case redirect(Int32)
}

/// The steps of one list of filters.
struct StepRange: BitwiseCopyable, Sendable {
    var start: UInt32
    var count: UInt32

    @inline(__always) var range: Range<Int> { Int(start)..<(Int(start) &+ Int(count)) }
    @inline(__always) var isEmpty: Bool { count == 0 }
}

/// What filters of a rule or of a backend ask for.
public struct RowFlags: OptionSet, BitwiseCopyable, Sendable {
    public let rawValue: UInt16
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The request head is edited.
    @inlinable
    public static var requestFilters: RowFlags { RowFlags(rawValue: 1) }
    /// The response head is edited.
    @inlinable
    public static var responseFilters: RowFlags { RowFlags(rawValue: 2) }
    /// The answer is a redirect; a rule that has this is answered before a backend is chosen.
    public static var redirect: RowFlags { RowFlags(rawValue: 4) }
    /// A filter cannot be processed: the answer is 500, the request is never passed on.
    @inlinable
    public static var failedFilter: RowFlags { RowFlags(rawValue: 8) }
    /// Host is rewritten, which wins over what a cluster says about Host.
    public static var rewritesHost: RowFlags { RowFlags(rawValue: 16) }
    /// The path is rewritten.
    static var rewritesPath: RowFlags { RowFlags(rawValue: 32) }
    /// Preflights are answered, and other origins are told what they may read.
    @inlinable
    public static var cors: RowFlags { RowFlags(rawValue: 64) }
    /// Copies of some requests go to other backends, too.
    @inlinable
    public static var mirrors: RowFlags { RowFlags(rawValue: 128) }
    /// The rule says when a request is tried again (`Table.retry(rule:)`).
    @inlinable
    public static var retries: RowFlags { RowFlags(rawValue: 256) }
    /// Requests that bring a token of the rule's go where it says (`Table.session(rule:)`).
    @inlinable
    public static var sessions: RowFlags { RowFlags(rawValue: 512) }
    /// Somebody is asked first whether a request may pass (`Table.authorization(rule:)`).
    @inlinable
    public static var authorizes: RowFlags { RowFlags(rawValue: 1024) }
    /// Requests to the backend are counted, because its retries are to be a share of them.
    @inlinable
    public static var retryBudget: RowFlags { RowFlags(rawValue: 2048) }
}

/// What the filters made of a request.
public enum FilterOutcome: Equatable, Sendable {
    /// The head is ready for the backend.
    case forward
    /// Answer with this status and the Location that was written into the scratch.
    case redirect(status: UInt16)
    /// A filter cannot be processed: answer 500.
    case failed
    /// The edited head or the Location exceeds its capacity: answer 431.
    case tooLarge
}

extension Table {
    /// What the filters of a rule and of its backend ask for together; `backend` is -1 for none.
    @inlinable
    @inline(__always)
    func flags(rule: Int32, backend: Int32) -> RowFlags {
        let own: RowFlags = backend < 0 ? [] : backends[Int(backend)].flags
        return rules[Int(rule)].flags.union(own)
    }

    /// Edits the request head by the filters of the rule, then by those of the backend.
    ///
    /// `backend` is -1 when none is chosen yet, as for a rule with `RowFlags.redirect`. `scratch`
    /// is emptied and used for a new path and for Location; 16 KiB are enough for the default
    /// limits of heads. Call it once per head: it edits what it is given. A backend that rewrites
    /// the path does so instead of its rule. Nothing is allocated.
    @inlinable
    @inline(__always)
    public func applyRequestFilters(
        rule: Int32, backend: Int32, match: RouteMatch, listener: Int32,
        head: inout RequestHead, scratch: inout RigidArray<UInt8>
    ) -> FilterOutcome {
        let asked = flags(rule: rule, backend: backend)
        if asked.isDisjoint(with: [.requestFilters, .failedFilter]) { return .forward }
        return edit(rule, backend, match, listener, &head, &scratch)
    }

    /// Whether a backend's own filters set or add a field of this name.
    public func puts(field name: Span<UInt8>, backend: Int32) -> Bool {
        for i in backends[Int(backend)].request.range {
            switch steps[i] {
            case .setField(let own, _), .addField(let own, _):
                if ByteScan.equalFolding(name, text(own)) { return true }
            case .removeField, .rewriteHost, .rewritePath, .redirect: break
            }
        }
        return false
    }

    @usableFromInline
    @inline(never)
    func edit(
        _ rule: Int32, _ backend: Int32, _ match: RouteMatch, _ listener: Int32,
        _ head: inout RequestHead, _ scratch: inout RigidArray<UInt8>
    ) -> FilterOutcome {
        let row = rules[Int(rule)]
        var keepsPath = false
        var steps = StepRange(start: 0, count: 0)
        var flags = row.flags
        if backend >= 0 {
            let own = backends[Int(backend)]
            keepsPath = own.flags.contains(.rewritesPath)
            steps = own.request
            flags.formUnion(own.flags)
        }
        if flags.contains(.failedFilter) { return .failed }
        for i in row.request.range {
            let step = self.steps[i]
            if keepsPath, case .rewritePath = step { continue }
            let outcome = apply(step, match, listener, &head, &scratch)
            if outcome != .forward { return outcome }
        }
        for i in steps.range {
            let outcome = apply(self.steps[i], match, listener, &head, &scratch)
            if outcome != .forward { return outcome }
        }
        return .forward
    }

    /// Edits the response head by the filters of the rule, then by those of the backend, if any.
    ///
    /// `origin` is that of the request where a CORS policy lets it in, else empty. False when the edited head exceeds its capacity: answer 502. Nothing is allocated.
    @inlinable
    @inline(__always)
    public func applyResponseFilters(
        rule: Int32, backend: Int32, origin: Span<UInt8> = Span(), head: inout ResponseHead
    ) -> Bool {
        let asked = flags(rule: rule, backend: backend)
        return asked.contains(.responseFilters) ? edit(rule, backend, origin, &head) : true
    }

    @usableFromInline
    @inline(never)
    func edit(
        _ rule: Int32, _ backend: Int32, _ origin: Span<UInt8>, _ head: inout ResponseHead
    ) -> Bool {
        // First, so that what other filters say of these fields is said of the policy's.
        if !sayCORS(rule: rule, backend: backend, origin: origin, &head) { return false }
        for i in rules[Int(rule)].response.range where !apply(steps[i], &head) { return false }
        if backend < 0 { return true }
        for i in backends[Int(backend)].response.range where !apply(steps[i], &head) {
            return false
        }
        return true
    }

    private func apply(
        _ step: FilterStep, _ match: RouteMatch, _ listener: Int32,
        _ head: inout RequestHead, _ scratch: inout RigidArray<UInt8>
    ) -> FilterOutcome {
        switch step {
        case .setField(let name, let value):
            return head.set(name: text(name), value: text(value)) ? .forward : .tooLarge
        case .addField(let name, let value):
            return head.append(name: text(name), value: text(value)) ? .forward : .tooLarge
        case .removeField(let name):
            head.remove(named: text(name))
            return .forward
        case .rewriteHost(let host):
            return head.setAuthority(text(host)) ? .forward : .tooLarge
        case .rewritePath(let path):
            return rewritePath(path, match, &head, &scratch) ? .forward : .tooLarge
        case .redirect(let index):
            let row = redirects[Int(index)]
            let isWritten = writeLocation(row, match, listener, head, &scratch)
            return isWritten ? .redirect(status: row.status) : .tooLarge
        }
    }

    private func apply(_ step: FilterStep, _ head: inout ResponseHead) -> Bool {
        switch step {
        case .setField(let name, let value): head.set(name: text(name), value: text(value))
        case .addField(let name, let value): head.append(name: text(name), value: text(value))
        case .removeField(let name): removeField(name, &head)
        case .rewriteHost, .rewritePath, .redirect:
            preconditionFailure("Only field steps are compiled for responses.")
        }
    }

    private func removeField(_ name: ArenaRange, _ head: inout ResponseHead) -> Bool {
        head.remove(named: text(name))
        return true
    }

    /// The bytes of a text.
    @inline(__always)
    @_lifetime(borrow self)
    func text(_ range: ArenaRange) -> Span<UInt8> {
        arena.span.extracting(range.range)
    }
}
