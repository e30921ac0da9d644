// Which certificate names stand for which roles: lines of a rules file of the form
//   map  NAME  CERTIFICATE-NAME  ROLE
// which is a line of pg_ident.conf behind the word `map`.

/** One such line; without a role it is about every one. */
export type IdentEntry = {
  readonly map: string
  readonly name: string
  readonly role: string | undefined
}

/** The maps of a rules file. */
export class IdentMaps {
  readonly #entries: readonly IdentEntry[]

  constructor(entries: readonly IdentEntry[]) {
    this.#entries = entries
  }

  has(map: string): boolean {
    return this.#entries.some((entry) => entry.map === map)
  }

  /** Whether the certificate name `name` may log in as `user` under `map`. */
  allows(map: string, name: string, user: string): boolean {
    return this.#entries.some(
      (entry) => entry.map === map && entry.name === name && (entry.role ?? user) === user,
    )
  }
}
