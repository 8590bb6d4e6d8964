import BasicContainers
import HTTP
import Kernel
import Protocols
import Routing
import Runtime

/// What is asked about a request: its head as the client sent it, and its content where that is told.
extension Worker {
    /// Writes the question about the request in `requestHead`, whose content stands in `rest` as it came; nil when there is no
    /// room for it.
    mutating func writeQuestion(
        _ slot: SlotID, _ authorization: SlotID, _ row: AuthorizationRow, _ endpoint: Int32,
        _ rest: Span<UInt8>
    ) -> Buffer? {
        if requestHead.hasConnectionFields, !requestHead.removeConnectionFields(keeping: []) {
            return nil
        }
        var content = Buffer()
        if row.contentBytesMax > 0, !requestHead.framing.isEmpty {
            guard copyContent(of: rest, authorizations[authorization].contentBytes, into: &content)
            else { return nil }
        }
        defer { buffers.reclaim(&content) }
        let told = requestHead.bytes.count + 64
        guard var lines = buffers.take(capacity: told + 2048) else { return nil }
        defer { buffers.reclaim(&lines) }
        guard Self.write(requestHead, row, generations, current, into: &lines) else { return nil }
        if row.dialect == .grpc {
            return writeCall(slot, row, endpoint, lines, content)
        }
        return writeRequest(row, endpoint, lines, content)
    }

    /// Decodes all content that stands in `rest`.
    private mutating func copyContent(
        of rest: Span<UInt8>, _ count: Int, into content: inout Buffer
    ) -> Bool {
        guard count > 0 else { return true }
        guard var copy = buffers.takeHeld(capacity: count) else { return false }
        var reader = ContentReader(requestHead.framing)
        var from = 0
        reading: while true {
            switch reader.next(rest, from: &from) {
            case .content(let range): _ = copy.append(rest.extracting(range))
            case .trailer: continue
            case .end, .incomplete, .malformed: break reading
            }
        }
        let isWhole = copy.count == count
        swap(&copy, &content)
        buffers.reclaim(&copy)
        return isWhole
    }

    /// Writes the first line as it is asked, and the fields that are told.
    private static func write(
        _ head: borrowing RequestHead, _ row: AuthorizationRow,
        _ generations: borrowing Slab<Generation>, _ generation: UInt32, into lines: inout Buffer
    ) -> Bool {
        let target = head.span(head.target)
        let isPath = !target.isEmpty && target[0] == 0x2F
        return lines.withFree { out in
            guard HeadWriter.append(head.span(head.methodText), into: &out),
                HeadWriter.append(" ", into: &out),
                generations[generation].snapshot.table.appendPath(row, into: &out),
                // What is asked of the server as a whole has no path.
                isPath
                    ? HeadWriter.append(target, into: &out) : HeadWriter.append("/", into: &out),
                HeadWriter.append(" HTTP/1.1\r\n", into: &out)
            else { return false }
            for at in 0..<head.fields.count {
                let line = head.fields[at]
                let name = head.span(line.name)
                if line.isDropped
                    || !generations[generation].snapshot.table.tells(row, name)
                {
                    continue
                }
                guard HeadWriter.append(name, into: &out), HeadWriter.append(": ", into: &out),
                    HeadWriter.append(head.span(line.value), into: &out),
                    HeadWriter.append("\r\n", into: &out)
                else { return false }
            }
            return true
        }
    }

    /// The question as a request of its own.
    private mutating func writeRequest(
        _ row: AuthorizationRow, _ endpoint: Int32, _ lines: borrowing Buffer,
        _ content: borrowing Buffer
    ) -> Buffer? {
        let cluster = clusters.clusters[Int(clusters.row(ofCluster: row.cluster))]
        let capacity = lines.count + content.count + 1024
        guard
            var buffer = buffers.take(capacity: capacity, isHeld: BufferPool.isHeld(content))
        else { return nil }
        let fits: Bool
        switch cluster.hostHeaderKind {
        case .preserve:
            fits = Self.write(
                lines, requestHead.span(requestHead.authority), content, into: &buffer)
        case .name:
            fits = Self.write(
                lines, clusters.arena.span.extracting(cluster.hostHeader.range), content,
                into: &buffer)
        case .endpoint:
            let authority = clusters.endpoints[Int(endpoint)].authority.range
            fits = Self.write(
                lines, clusters.arena.span.extracting(authority), content, into: &buffer)
        }
        if fits { return buffer }
        buffers.give(buffer)
        return nil
    }

    private static func write(
        _ lines: borrowing Buffer, _ host: Span<UInt8>, _ content: borrowing Buffer,
        into buffer: inout Buffer
    ) -> Bool {
        let line = HeadLines.requestLine(of: lines.span).count + 2
        let first = lines.span.extracting(first: line)
        let rest = lines.span.extracting(line..<lines.count)
        let told = content.span
        return buffer.withFree { out in
            HeadWriter.append(first, into: &out) && HeadWriter.append("host: ", into: &out)
                && HeadWriter.append(host, into: &out) && HeadWriter.append("\r\n", into: &out)
                && HeadWriter.append(rest, into: &out)
                && HeadWriter.append("content-length: ", into: &out)
                && HeadWriter.append(decimal: UInt64(told.count), into: &out)
                && HeadWriter.append("\r\n\r\n", into: &out) && HeadWriter.append(told, into: &out)
        }
    }

    /// The question as a call.
    private mutating func writeCall(
        _ slot: SlotID, _ row: AuthorizationRow, _ endpoint: Int32, _ lines: borrowing Buffer,
        _ content: borrowing Buffer
    ) -> Buffer? {
        let isHeld = BufferPool.isHeld(content)
        let capacity = 4 * lines.count + requestHead.bytes.count + content.count + 8192
        guard var message = buffers.take(capacity: capacity, isHeld: isHeld) else { return nil }
        guard var buffer = buffers.take(capacity: capacity + 1024, isHeld: isHeld) else {
            buffers.give(message)
            return nil
        }
        let authority = clusters.endpoints[Int(endpoint)].authority.range
        let downstream = exchanges[slot].downstream
        let peer = clientOfRequest(downstream, decision.parameters)
        let own = destination(of: connection(of: downstream))
        var client = Buffer(capacity: 64)
        client.withFree { peer.writeHost(into: &$0) }
        var here = Buffer(capacity: 64)
        if let own { here.withFree { own.writeHost(into: &$0) } }
        var size: Int64 = -1
        switch requestHead.framing {
        case .none: size = 0
        case .length(let count): size = Int64(clamping: count)
        case .chunked, .untilClose: if row.contentBytesMax > 0 { size = Int64(content.count) }
        }
        let facts = CheckFacts(
            isSecure: downstreams[downstream].isTLS, version: requestHead.version, size: size,
            milliseconds: wallMilliseconds, clientPort: peer.port, ownPort: own?.port ?? 0)
        let isWritten = Self.write(
            requestHead, lines, client: client, own: here, content, facts,
            isWhole: !row.hasRequestFields, into: &message)
        let fits =
            isWritten
            && Self.write(
                clusters.arena.span.extracting(authority), message.span, into: &buffer)
        buffers.give(message)
        if fits { return buffer }
        buffers.give(buffer)
        return nil
    }

    private static func write(
        _ head: borrowing RequestHead, _ lines: borrowing Buffer, client: borrowing Buffer,
        own: borrowing Buffer, _ content: borrowing Buffer, _ facts: CheckFacts, isWhole: Bool,
        into message: inout Buffer
    ) -> Bool {
        let id = head.span(head.value(.xRequestID) ?? .none)
        let host = head.span(head.authority)
        let told = lines.span
        let clientText = client.span
        let ownText = own.span
        let body = content.span
        return message.withFree { out in
            CheckRequest.append(
                told, host: host, id: id, client: clientText, own: ownText, content: body, facts,
                isWhole: isWhole, into: &out)
        }
    }

    private static func write(
        _ authority: Span<UInt8>, _ message: Span<UInt8>, into buffer: inout Buffer
    ) -> Bool {
        buffer.withFree { out in
            HeadWriter.append(callLine, into: &out) && HeadWriter.append(authority, into: &out)
                && HeadWriter.append(callFields, into: &out)
                && HeadWriter.append(chunk: message, into: &out)
                && HeadWriter.append("0\r\n\r\n", into: &out)
        }
    }

    private static var callLine: StaticString {
        "POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nhost: "
    }

    private static var callFields: StaticString {
        """
        \r\ncontent-type: application/grpc\r\nte: trailers\r\nuser-agent: ai-gateway\r\n\
        transfer-encoding: chunked\r\n\r\n
        """
    }
}
