import Foundation
import Yams

/// Why a text cannot be read as documents.
struct SyntaxFailure: Error, Equatable {
    var mark: TextMark
    var message: String
    var reason = ConfigProblem.Reason.syntax
}

/// Reads YAML text into document trees.
///
/// The text is given in parts that each hold what stands between two `---` lines, so marks are
/// moved by the part's first line.
struct YAMLReader {
    /// The line of the file on which the text begins, from 1.
    let firstLine: Int
    private var nodeCount = 0
    private let nodesMax: Int

    init(firstLine: Int = 1, nodesMax: Int = DocumentLimits.documentNodesMax) {
        self.firstLine = firstLine
        self.nodesMax = nodesMax
    }

    /// The documents of a text; an empty document is null.
    mutating func documents(of text: String) throws(SyntaxFailure) -> [DocumentNode] {
        var documents: [DocumentNode] = []
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            while let root = try parser.nextRoot() {
                nodeCount = 0
                documents.append(try convert(root, depth: 0))
            }
        } catch let failure as SyntaxFailure {
            throw failure
        } catch let error as YamlError {
            throw failure(from: error, in: text)
        } catch {
            throw SyntaxFailure(mark: TextMark(line: firstLine, column: 1), message: "\(error)")
        }
        return documents
    }

    // MARK: - From the library's tree to ours

    /// Copies a node.
    ///
    /// An alias arrives as the node that it stands for, so counting here counts each use.
    private mutating func convert(_ node: Node, depth: Int) throws(SyntaxFailure) -> DocumentNode {
        let mark = self.mark(node.mark)
        nodeCount += 1
        if nodeCount > nodesMax {
            throw SyntaxFailure(
                mark: mark,
                message: "the document has more than \(nodesMax) values, aliases counted "
                    + "each time they are used; split it",
                reason: ConfigProblem.Reason.tooLarge)
        }
        if depth > DocumentLimits.depthMax { throw .tooDeep(at: mark) }
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .plain && scalar.tag.rawValue != Tag.Name.str.rawValue
            return DocumentNode(.scalar(Scalar(text: scalar.string, isPlain: isPlain)), at: mark)
        case .sequence(let sequence):
            var items: [DocumentNode] = []
            items.reserveCapacity(sequence.count)
            for item in sequence { items.append(try convert(item, depth: depth + 1)) }
            return DocumentNode(.sequence(items), at: mark)
        case .mapping(let mapping):
            return DocumentNode(.mapping(try members(of: mapping, depth: depth)), at: mark)
        case .alias:
            throw SyntaxFailure(mark: mark, message: "an alias without its anchor")
        }
    }

    private mutating func members(
        of mapping: Node.Mapping, depth: Int
    ) throws(SyntaxFailure) -> [DocumentNode.Member] {
        var members: [DocumentNode.Member] = []
        members.reserveCapacity(mapping.count)
        var merged: [DocumentNode.Member] = []
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                throw SyntaxFailure(mark: mark(key.mark), message: "a field's name must be text")
            }
            let node = try convert(value, depth: depth + 1)
            if scalar.string == "<<", scalar.style == .plain {
                merged += try Self.mergedMembers(of: node)
                continue
            }
            members.append(
                DocumentNode.Member(
                    key: scalar.string, keyMark: mark(scalar.mark), value: node))
        }
        if merged.isEmpty { return members }
        var known = Set(members.map(\.key))
        for member in merged where known.insert(member.key).inserted { members.append(member) }
        return members
    }

    /// What `<<: *anchor` brings into a mapping, the first of equal names first.
    private static func mergedMembers(
        of node: DocumentNode
    ) throws(SyntaxFailure) -> [DocumentNode.Member] {
        switch node.content {
        case .mapping(let members): return members
        case .sequence(let items):
            var members: [DocumentNode.Member] = []
            for item in items { members += try mergedMembers(of: item) }
            return members
        case .scalar:
            throw SyntaxFailure(
                mark: node.mark, message: "<< takes an alias of a mapping, or a list of such")
        }
    }

    private func mark(_ mark: Mark?) -> TextMark {
        self.mark(line: mark?.line ?? 1, column: mark?.column ?? 1)
    }

    /// A place in the file for one in this part of it.
    private func mark(line: Int, column: Int) -> TextMark {
        TextMark(line: line + firstLine - 1, column: column)
    }

    // MARK: - Errors

    private func failure(from error: YamlError, in text: String) -> SyntaxFailure {
        switch error {
        case .scanner(let context, let problem, let place, _),
            .parser(let context, let problem, let place, _),
            .composer(let context, let problem, let place, _):
            return SyntaxFailure(
                mark: mark(place),
                message: sentence(problem, context: context, place: place, in: text))
        case .reader(let problem, let offset, _, _):
            let place = Self.place(ofCharacter: offset ?? 0, in: text)
            return SyntaxFailure(
                mark: mark(line: place.line, column: place.column),
                message: "a character that YAML does not allow (\(problem))")
        case .duplicatedKeysInMapping(let duplicates, let context):
            return duplicateFailure(duplicates.first ?? "", first: context.mark, in: text)
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            return SyntaxFailure(mark: mark(nil), message: "\(error)")
        }
    }

    /// The library's finding in the words of someone who edits the file.
    private func sentence(
        _ problem: String, context: YamlError.Context?, place: Mark, in text: String
    ) -> String {
        let line = Self.line(place.line, of: text)
        if line.unicodeScalars.dropFirst(place.column - 1).first == "\t"
            || line.prefix(while: \.isWhitespace).contains("\t")
        {
            return "a tab cannot indent YAML; use spaces"
        }
        switch problem {
        case "mapping values are not allowed in this context":
            return "a second \": \" on the line; put quotes around text that contains one, "
                + "or check the indentation"
        case "found undefined alias":
            return "an alias of an anchor that is not in this document"
        case "found unexpected end of stream":
            return "the text ends too early; a quote or bracket is open"
                + beginning(of: context)
        case "Maximum nesting level reached, set with yaml_set_max_nest_level())":
            return SyntaxFailure.tooDeep(at: mark(place)).message
        default:
            return "not YAML: \(problem)" + beginning(of: context)
        }
    }

    private func beginning(of context: YamlError.Context?) -> String {
        guard let context, !context.text.isEmpty else { return "" }
        return " (\(context.text) that begins on line \(mark(context.mark).line))"
    }

    /// A key that a mapping has twice.
    ///
    /// The library tells where the first is; the second is looked for below it, which finds it
    /// unless its letters are written as escapes or it stands on the same line.
    private func duplicateFailure(_ key: String, first: Mark, in text: String) -> SyntaxFailure {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let indent = first.column - 1
        for number in lines.indices.dropFirst(first.line) {
            let scalars = lines[number].unicodeScalars
            let start = scalars.dropFirst(indent)
            let isBlank = scalars.allSatisfy(\.properties.isWhitespace)
            if isBlank || scalars.prefix(indent).contains(where: { $0 != " " }) && !isBlank {
                if isBlank { continue }
                break
            }
            let rest = Substring(start)
            if ["", "\"", "'"].contains(where: { rest.hasPrefix("\($0)\(key)\($0):") }) {
                return SyntaxFailure(
                    mark: mark(line: number + 1, column: first.column),
                    message: "\"\(key)\" is already given on line \(mark(first).line)")
            }
        }
        return SyntaxFailure(
            mark: mark(first), message: "\"\(key)\" is given twice in this mapping")
    }

    private static func line(_ number: Int, of text: String) -> Substring {
        let lines = text.split(
            separator: "\n", maxSplits: number, omittingEmptySubsequences: false)
        return number <= lines.count && number > 0 ? lines[number - 1] : ""
    }

    private static func place(
        ofCharacter offset: Int, in text: String
    ) -> (line: Int, column: Int) {
        let before = text.prefix(offset)
        let line = before.utf8.count { $0 == UInt8(ascii: "\n") }
        let column = before.unicodeScalars.reversed().prefix { $0 != "\n" }.count
        return (line + 1, column + 1)
    }
}

extension SyntaxFailure {
    static func tooDeep(at mark: TextMark) -> SyntaxFailure {
        SyntaxFailure(
            mark: mark,
            message: "more than \(DocumentLimits.depthMax) mappings and lists inside each other",
            reason: ConfigProblem.Reason.tooLarge)
    }
}
