/// The state of every object, as the API would have it in `status`.
public struct StatusReport: Sendable {
    /// Sorted as the documents are.
    public var objects: [ObjectStatus]
    /// Each fault at its place in the documents, and what has no condition of its own.
    public var problems: [ConfigProblem]
    /// What the report was made from, for the compiler.
    let resolution: Resolution

    /// Whether any object does not work as it is written.
    public var hasFaults: Bool {
        objects.contains { object in
            object.status.allConditions.contains { $0.conditions.contains(where: \.isFault) }
        }
    }
}

/// Works out the state of all objects.
///
/// A pure function: the same documents and observations give the same report.
///
/// - Parameters:
///   - documents: that passed `Admission.admit`.
///   - placement: where Gateways are served.
///   - observations: what the process knows beyond the documents. Without any, or with those of
///     `Observations.ofDocuments`, what depends on open ports is Unknown.
/// - Returns: the state of each object, and what is wrong with it.
public func status(
    _ documents: DocumentSet, placement: Placement = Placement(),
    observations: Observations? = nil
) -> StatusReport {
    status(
        documents,
        resolved: Resolution(documents, placement: placement, observations: observations),
        observations: observations)
}

/// The same where all that follows from the documents is known already.
func status(
    _ documents: DocumentSet, resolved resolution: Resolution, observations: Observations?
) -> StatusReport {
    var builder = StatusBuilder(resolution, observations: observations)
    for object in documents.objects { builder.add(object) }
    builder.addRefusedPolicies()
    builder.sortProblems()
    return StatusReport(
        objects: builder.objects, problems: builder.problems, resolution: resolution)
}
