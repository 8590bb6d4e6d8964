/// Makes conditions of one object, keeping the time of those that did not change.
struct ConditionWriter {
    /// The status and time of each condition in the last report.
    struct History {
        fileprivate struct Key: Hashable {
            let object: ObjectReference
            let group: String
            let section: String
            let type: String
        }

        fileprivate var states: [Key: (status: Condition.Status, time: String?)] = [:]

        init(_ objects: [ObjectStatus]) {
            for object in objects {
                let group = APIVersion(object.apiVersion).group
                for (section, conditions) in object.status.allConditions {
                    for condition in conditions {
                        let key = Key(
                            object: object.reference, group: group, section: section,
                            type: condition.type)
                        states[key] = (condition.status, condition.lastTransitionTime)
                    }
                }
            }
        }
    }

    let object: LocatedObject
    let history: History
    /// Nil where time is not told.
    let now: String?
    /// As in `StatusFields.allConditions`.
    let section: String

    func condition(
        _ type: String, _ status: Condition.Status, _ reason: String, _ message: String
    ) -> Condition {
        Condition(
            type: type, status: status, observedGeneration: object.generation,
            lastTransitionTime: time(type, status), reason: reason, message: message)
    }

    /// True unless there are findings, which make it False with the first one's reason.
    func positive(
        _ type: String, _ findings: [Finding], reason: String, message: String
    ) -> Condition {
        guard let first = findings.first else { return condition(type, .isTrue, reason, message) }
        return condition(type, .isFalse, first.reason, Finding.text(findings))
    }

    private func time(_ type: String, _ status: Condition.Status) -> String? {
        guard let now else { return nil }
        if history.states.isEmpty { return now }
        let key = History.Key(
            object: object.reference, group: object.group, section: section, type: type)
        guard let state = history.states[key], state.status == status else { return now }
        return state.time ?? now
    }
}
