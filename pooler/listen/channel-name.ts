/** The channel whose bytes are `name`, one character each, as it stands in a statement. */
export function quotedChannel(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8')
  return `"${text.replaceAll('"', '""')}"`
}
