// Which of a backend's messages are looked at on their way, and what the link says of them.
import { Flag } from '../../shared/link/frame.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'

/** Types of the messages that a backend looks at in every batch. */
export const INTEREST = [
  Message.ReadyForQuery,
  Message.ParameterStatus,
  Message.ErrorResponse,
  Message.ParseComplete,
  Message.CloseComplete,
  Message.CopyInResponse,
  Message.CopyOutResponse,
  Message.CopyBothResponse,
  Message.NoticeResponse,
  Message.NotificationResponse,
]
/** What the link says of a message behind which none follows in a frame. */
export function copyFlag(type: number): number {
  switch (type) {
    case Message.CopyInResponse:
      return Flag.CopyIn | Flag.Boundary
    case Message.CopyOutResponse:
      return Flag.CopyOut | Flag.Boundary
    case Message.CopyBothResponse:
      return Flag.CopyBoth | Flag.Boundary
    default:
      return 0 // a ParseComplete or CloseComplete of the client's
  }
}
