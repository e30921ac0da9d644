// Strings and shapes that many statements have in common, held once: clients name their statements
// alike, and a table or an ORM gives many statements one shape.

/** Past it sharing starts anew, which costs memory and no more. */
const KEPT_MAX = 4096
/** Others are not often alike, and would hold much. */
const BYTES_MAX = 1024

const strings = new Map<string, string>()
const shapes = new Map<string, Buffer>()

/** An equal string, which others hold as well. */
export function internString(text: string): string {
  return text.length > BYTES_MAX ? text : kept(strings, text, () => text)
}

/** A copy of bytes that nobody changes, which others hold as well. */
export function internShape(bytes: Buffer): Buffer {
  const copy = () => Buffer.from(bytes)
  return bytes.length > BYTES_MAX ? copy() : kept(shapes, bytes.toString('latin1'), copy)
}

function kept<T>(all: Map<string, T>, key: string, make: () => T): T {
  const known = all.get(key)
  if (known !== undefined) return known
  if (all.size >= KEPT_MAX) all.clear()
  const made = make()
  all.set(key, made)
  return made
}
