import Kernel

/// `/etc/hosts`: names that no server is asked for.
struct HostsFile: Sendable {
    /// Larger ones are not read: somebody's list of a million blocked names has no backend of ours.
    private static let bytesMax = 1 << 20

    private let path: String
    private var stamp: FileStamp?
    private var addresses: [String: [SocketAddress]] = [:]

    init(path: String) { self.path = path }

    /// The addresses of a name in small letters; nil when the file does not have it.
    mutating func addresses(of name: String) -> [SocketAddress]? {
        let present = FileEntry(path: path)?.stamp
        if present != stamp {
            stamp = present
            // One that cannot be read has no names.
            let bytes = (try? FileSystem.read(path, bytesMax: Self.bytesMax)) ?? []
            addresses = Self.parse(String(decoding: bytes, as: UTF8.self))
        }
        return addresses[name]
    }

    /// Lines of an address and its names (hosts(5)); what is no address is passed over.
    static func parse(_ text: String) -> [String: [SocketAddress]] {
        var addresses: [String: [SocketAddress]] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            guard let first = words.first,
                let address = SocketAddress(String(first), port: 0), !address.isAny
            else { continue }
            for word in words.dropFirst() {
                let name = word.lowercased()
                if addresses[name]?.contains(address) != true {
                    addresses[name, default: []].append(address)
                }
            }
        }
        return addresses
    }
}
