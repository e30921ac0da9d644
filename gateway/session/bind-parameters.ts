/**
 * The values of parameters in a Bind message: text, or bytes that are the same as text.
 *
 * @param at one past the NUL of the statement's name. @param end one past the message.
 * @returns the value of parameter `number`, counted from 1; null for NULL, and undefined when the
 * message is cut, broken, or has fewer.
 */
export function bindParameter(
  bytes: Buffer,
  { at, end, number }: { at: number; end: number; number: number },
): string | null | undefined {
  let next = at
  if (end - next < 2) return undefined
  next += 2 + 2 * bytes.readUInt16BE(next)
  if (end - next < 2) return undefined
  const count = bytes.readUInt16BE(next)
  next += 2
  if (number > count) return undefined
  for (let i = 1; ; i++) {
    if (end - next < 4) return undefined
    const length = bytes.readInt32BE(next)
    next += 4
    if (length > end - next) return undefined
    if (i === number) return length < 0 ? null : bytes.toString('utf8', next, next + length)
    next += Math.max(0, length)
  }
}
