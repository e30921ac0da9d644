// The frames of the link between a gateway and a pooler.
//
// One connection carries many sessions ("streams"). Every frame is a 16-byte header and a payload
// of at most 32 KiB; all integers are big endian:
//
//   0  UInt32  payload bytes        8  UInt8  kind      12  UInt32  value (meaning by kind)
//   4  UInt32  stream, 0 = link     9  UInt8  flags
//                                  10  UInt8  transaction status of a READY frame
//                                  11  UInt8  pins summary of a READY frame
//
// A frame carries raw pgwire messages, cut anywhere; its flags tell the other side what it would
// otherwise have to find by reading those bytes again.

/** The startup packet's request code, as SSLRequest and CancelRequest have theirs. */
export const LINK_REQUEST_CODE = (1234 << 16) | 7100
/** Both ends speak exactly this version; another is refused by name. */
export const LINK_PROTOCOL_VERSION = 3

export const FRAME_HEADER_BYTES = 16
/**
 * Small enough that one stream's frame never delays the others' by much: 32 KiB is 0.1 ms or less.
 */
export const FRAME_PAYLOAD_BYTES_MAX = 32 * 1024
/**
 * Payload bytes of BATCH and DATA that a sender may have under way on one stream, each direction.
 */
export const STREAM_WINDOW_BYTES = 256 * 1024
/** A receiver gives credit back in portions of at least this, so that credits stay rare. */
export const CREDIT_BYTES_MIN = STREAM_WINDOW_BYTES / 4

export const Kind = {
  // The first three make the handshake; see handshake.ts.
  Hello: 1,
  Proof: 2,
  /**
   * `value`: bytes of definitions that the pooler keeps for this link, as `definitionBytes` counts
   * them; 0 for all that come. The gateway sees to it, by RELEASE.
   */
  Welcome: 3,
  // Gateway to pooler.
  /**
   * JSON. `value` is Entry.Tried or Entry.Known. OPENED or FAILED follows; of what is known already
   * only FAILED, 57P03, where it is known no more: what came behind it was not begun.
   */
  Open: 10,
  Batch: 11,
  Cancel: 12,
  Close: 13,
  Define: 14,
  Release: 15,
  /**
   * JSON {"user", "database", "roles"}, and "options" as OPEN has them of one that will open.
   * `value` is the number of the question.
   */
  Login: 16,
  /**
   * JSON {"names": [..], "defines": [..]}, lower case, before the BATCH or DATA that needs it.
   * `names`: settings that the next look reads, besides those the session has. `defines`: custom
   * names (with a dot) that the next batch sets by its one statement, a plain SET of a literal.
   */
  Names: 17,
  /**
   * A stream of raw bytes to a walsender of its own: JSON as OPEN's, with "replication": "physical"
   * or "database" and "rule": "TERM.SUBTERM". OPENED or FAILED follows; then DATA both ways, of
   * which the gateway's last has Flag.Final; at last CLOSED.
   */
  OpenReplication: 18,
  /** Name of a database, or nothing for all: its backends are replaced as they fall free. */
  Retire: 19,
  /**
   * JSON {"listen": channel} or {"unlisten": channel or null for all}, ahead of the BATCH that says
   * so in SQL, at rest, in one frame. The channel's bytes, one character each. The pooler may let
   * the session hear the channel without a backend of its own; READY says so, see PinSummary.
   */
  Listen: 22,
  // Both ways.
  Data: 20,
  Credit: 21,
  /**
   * What statement `value` takes and gives, see shape.ts. To a pooler, on the link: what it was
   * when a client first prepared it. To a gateway, on the stream, before the READY of the batch
   * that showed it: what it is now; status 1 where the client's own Parse did.
   */
  Shape: 23,
  // Pooler to gateway.
  Opened: 30,
  Failed: 31,
  Refused: 32,
  Lost: 33,
  Closed: 34,
  Parameters: 35,
  /**
   * JSON; keeps data order. `ready`, where it is, names the vector of a backend that was accepted
   * with what the question said: OPEN may come with Entry.Known.
   */
  LoginRow: 36,
  Health: 37,
  /**
   * JSON [["name","value"],..], sorted by name: all that the session holds beyond its startup
   * values. Before the READY whose batch changed them. `null` when they cannot be known or are too
   * large to be told: then the session is pinned by its settings, and they equal nobody else's.
   */
  Settings: 38,
  /**
   * A NotificationResponse for a session that holds no transaction, raw. Of the same window as
   * DATA; one that is cut goes on in the next frame of this kind.
   */
  Notification: 39,
  /**
   * On the link, keeps data order: the watch list of a database, see watch.ts; `value` is its
   * version, the last part has Flag.Boundary. Before OPENED, and when it changes.
   */
  Watch: 40,
} as const
export type Kind = (typeof Kind)[keyof typeof Kind]

/** What the gateway knows of a session that it opens. */
export const Entry = {
  /** It is to be tried on a backend, and the gateway waits for that. */
  Tried: 0,
  /** LOGIN_ROW has said that it is accepted: batches follow at once. */
  Known: 1,
} as const

export const Flag = {
  /** The payload's raw bytes end on a message boundary. */
  Boundary: 1,
  /** Towards the pooler: a table of operations stands before the raw bytes. */
  HasOps: 2,
  /** Towards the pooler: the bytes up to here end with the message that makes a ReadyForQuery. */
  Final: 4,
  /**
   * Towards the pooler, on a BATCH: it is for the backend that the session holds, and for no other.
   * When that one is lost, which LOST tells or will, the batch is dropped.
   */
  Held: 8,
  /** Towards the pooler, on DEFINE: what the statement gives must stay as it was. */
  Shaped: 16,
  /** Towards the gateway: the last message is ReadyForQuery; status, pins and value are set. */
  Ready: 2,
  /** Towards the gateway: an ErrorResponse is among the messages. */
  Error: 4,
  /** Towards the gateway: the last message is that Copy...Response. */
  CopyIn: 8,
  CopyOut: 16,
  CopyBoth: 32,
} as const

/**
 * What the pooler does at one message of a frame. 8 bytes: UInt8 op, 0, UInt16 offset, UInt32 id.
 */
export const Op = {
  /** The client's own Parse; id 0 is the unnamed statement. */
  Parse: 1,
  /** The backend must hold statement `id` before the message at `offset`. */
  Need: 2,
  /** A Parse that the gateway replays: its ParseComplete is not the client's. */
  Injected: 3,
  /** After this batch the backend's prepared statements are unknown; with an id, this one is. */
  Forget: 4,
  /** A Close of the gateway's own: its CloseComplete is not the client's. */
  InjectedClose: 5,
  /** Before this message the backend loses all shared ones: its text looks at all there are. */
  CloseShared: 6,
} as const
export const OP_BYTES = 8
/** The table's head: UInt16 count of operations, UInt16 zero. */
export const OPS_HEAD_BYTES = 4
export const OPS_PER_FRAME_MAX = 512

/**
 * BATCH begins with the rule that the gateway believes (term, subterm: UInt64 each) and the mask of
 * pins and looks.
 */
export const BATCH_HEAD_BYTES = 20

/** Why a backend stays with a session. A bit mask; the pooler is the authority. */
export const Pin = {
  Transaction: 1 << 0,
  Batch: 1 << 1,
  SlowClient: 1 << 2,
  TempObjects: 1 << 3,
  SqlPrepare: 1 << 4,
  CursorWithHold: 1 << 5,
  AdvisoryLock: 1 << 6,
  Listen: 1 << 7,
  Sequence: 1 << 8,
  Setseed: 1 << 9,
  Replication: 1 << 10,
  Copy: 1 << 11,
  /** Settings that cannot be carried to another backend. */
  Settings: 1 << 12,
  /** The client or the configuration asked for a backend of its own. */
  Explicit: 1 << 13,
  /**
   * State that a statement may leave behind and that nobody can name: DO, CALL, unknown commands.
   */
  Unknown: 1 << 14,
  /** Custom setting names or a loaded library: DISCARD ALL does not undo them. */
  NotCleanable: 1 << 15,
} as const

/**
 * What the pooler looks at when the batch is over and no transaction is open, before READY. In one
 * mask with `Pin`: in the head of BATCH and in the value of DATA. Above them, from bit 20 on, BATCH
 * has the version of the watch list that its texts were looked up in.
 *
 * TempObjects, SqlPrepare, CursorWithHold, AdvisoryLock and Listen are looked at too: in a mask
 * they say that the batch may leave such a thing behind, and they last while the backend really has
 * it. The other session pins last until the session ends.
 */
export const Look = {
  /** The settings that NAMES frames named, and those that the session has. */
  Settings: 1 << 16,
  /** Names unknown: every setting that differs from the session's startup value. */
  AllSettings: 1 << 17,
  /** The batch may have undone pins: look at those again that the session has. */
  Pins: 1 << 18,
  /** The batch may change the catalogs: they are read again before READY. */
  Catalog: 1 << 19,
  // In the places of pins that no batch asks for.
  /** The batch may have discarded what the session knows of sequences. */
  Discards: 1 << 1,
  /** The session will ask what it knows of sequences: it does not go on without it. */
  NeedsSequences: 1 << 2,
  /** Nobody will ask what the session knows of sequences. */
  ForgetsSequences: 1 << 10,
  /** The batch is one statement that changes the catalogs: it runs nothing that it makes. */
  Lone: 1 << 11,
} as const

/** The part of a mask that is pins. */
export const PIN_MASK =
  0xffff & ~(Look.Discards | Look.NeedsSequences | Look.ForgetsSequences | Look.Lone)
/** The pins that a backend can be asked about. */
export const VERIFIABLE_PINS =
  Pin.TempObjects | Pin.SqlPrepare | Pin.CursorWithHold | Pin.AdvisoryLock | Pin.Listen
/** JSON of a session's settings: it must fit into OPEN and SETTINGS frames beside the rest. */
export const SETTINGS_BYTES_MAX = 16 * 1024

/**
 * What a gateway needs to know at every ReadyForQuery: why the session keeps its backend, whether
 * it could go on without (it may only have asked what it knows of sequences), and that its pooler
 * listens for it, for which it needs none.
 */
export const PinSummary = { Transaction: 1, Session: 2, Listens: 4, Dispensable: 8 } as const

/**
 * Status of a LOST frame: whether a byte of the batch was given to a socket towards the backend.
 */
export const LostStatus = { NothingSent: 0, Sent: 1 } as const

/** Kinds that keep their order with DATA; all others overtake it in the sender's queue. */
export function keepsDataOrder(kind: number): boolean {
  switch (kind) {
    case Kind.Open: // before its batches, and behind those of the stream that had its number
    case Kind.OpenReplication:
    case Kind.Close: // behind OPEN
    case Kind.Batch:
    case Kind.Data:
    case Kind.Shape: // behind DEFINE, and before READY
    case Kind.Define: // a BATCH that needs the statement may follow at once
    case Kind.Release: // behind the batches that need it, before its next DEFINE
    case Kind.Parameters: // before the READY that names the vector
    case Kind.LoginRow: // behind the vector and the watch list
    case Kind.Names: // before the batch that needs them
    case Kind.Watch: // before what was refused for it
    case Kind.Settings: // before the READY whose batch changed them
    case Kind.Listen: // before the batch that it is about
    case Kind.Notification: // before or behind a READY, as Postgres would have it
    case Kind.Opened:
    case Kind.Failed:
    case Kind.Refused:
    case Kind.Lost:
    case Kind.Closed:
      return true
    default:
      return false
  }
}

/** Writes a frame header at `at`; arguments, not an object, because it runs for every frame. */
export function writeFrameHeader(
  bytes: Buffer,
  at: number,
  payloadBytes: number,
  stream: number,
  kind: number,
  flags: number,
  status: number,
  pins: number,
  value: number,
): void {
  bytes.writeUInt32BE(payloadBytes, at)
  bytes.writeUInt32BE(stream, at + 4)
  bytes[at + 8] = kind
  bytes[at + 9] = flags
  bytes[at + 10] = status
  bytes[at + 11] = pins
  bytes.writeUInt32BE(value, at + 12)
}
