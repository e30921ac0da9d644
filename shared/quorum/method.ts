// What a node can be asked. The kind of a method is part of its type, so that a call of the wrong
// kind does not compile.

/** Turns messages into bytes and back; what ts-proto generates for each message. */
export type Codec<T> = {
  encode(message: T): { finish(): Uint8Array }
  decode(bytes: Uint8Array): T
}

/** `unary`: one reply of each node. `stream`: any number. `one-way`: none. */
export type MethodKind = 'unary' | 'stream' | 'one-way'

/** One method: its name on the wire, and how its messages are written. */
export type Method<Kind extends MethodKind, Request, Reply> = {
  readonly name: string
  readonly kind: Kind
  readonly request: Codec<Request>
  readonly reply: Codec<Reply>
}

/** A method of which nothing comes back. */
export type OneWayMethod<Request> = Omit<Method<'one-way', Request, never>, 'reply'>

/** Any method, where only its name and kind matter. */
export type AnyMethod = { readonly name: string; readonly kind: MethodKind }
