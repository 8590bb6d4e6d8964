/// The limits on what is read from documents, so that no file can exhaust memory or stack.
enum DocumentLimits {
    /// One file; room for a List of about ten thousand objects or a bundle of certificates.
    static let fileBytesMax = 16 << 20
    /// A certificate or key named by a Secret's annotation.
    static let secretFileBytesMax = 1 << 20
    /// Mappings, lists and scalars in one document, aliases counted as often as they are used:
    /// what stops a few lines of nested aliases from growing without end.
    static let documentNodesMax = 1_000_000
    /// Mappings and lists inside each other; the deepest field of the API is about 30 levels down.
    static let depthMax = 128
    /// Problems told about one document; the rest are counted.
    static let documentProblemsMax = 50
    /// Files under all paths together.
    static let filesMax = 20_000
    /// Folders inside each other, which also ends symbolic links that lead in circles.
    static let folderDepthMax = 32
}
