//! gRPC's status codes by name (grpc/grpc statuscodes.md).

/// The names; a code is its name's position.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The code of a status given by name or number, as in `abort.grpcStatus`.
pub fn grpc_code(status: &str) -> Option<u32> {
    GRPC_STATUSES
        .into_iter()
        .zip(0..)
        .find_map(|(name, code)| (name == status).then_some(code))
        .or_else(|| status.parse().ok().filter(|code| *code <= 16))
}
