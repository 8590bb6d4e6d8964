import Kernel

/// What `ai-gateway check` does: one look at the documents, with nothing served.
public enum Check {
    /// The report on files, folders or `-`.
    public static func report(paths: [String]) -> CheckReport {
        var origin = ManifestFolder(paths: paths, kinds: KindRegistry.all, isWatching: false)
        let documents = Admission.admit(origin.poll() ?? DocumentSet())
        let today = Int64(Clock.wallNanoseconds() / 1_000_000_000)
        return CheckReport(
            documents, status(documents, observations: .ofDocuments(documents, today: today)))
    }
}
