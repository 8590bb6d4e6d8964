import Foundation

/// What the process itself takes of the machine, by the names that Prometheus' own libraries give it.
enum ProcessMetrics {
    /// Appends what `/proc` tells; what it does not tell is left out.
    static func write(into content: inout [UInt8]) {
        func gauge(_ name: String, _ help: String, _ value: Int?) {
            guard let value else { return }
            content += "# HELP \(name) \(help)\n# TYPE \(name) gauge\n\(name) \(value)\n".utf8
        }
        gauge("process_resident_memory_bytes", "Resident memory.", residentBytes())
        gauge("process_open_fds", "Open descriptors.", openDescriptors())
    }

    private static func residentBytes() -> Int? {
        // The second number is in pages (proc(5)).
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else {
            return nil
        }
        let words = text.split(separator: " ")
        guard words.count > 1, let pages = Int(words[1]) else { return nil }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    private static func openDescriptors() -> Int? {
        // Less the one that the folder is read by.
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")).map { $0.count - 1 }
    }
}
