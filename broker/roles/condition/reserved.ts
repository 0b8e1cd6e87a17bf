// `namespace` is a variable of conditions and a reserved word of CEL. It goes through the parser under another name of
// the same length, so that positions stay.

export const NAMESPACE_ALIAS = 'Namespace';

const RAW = String.raw`[bB]?[rR](?:'''[^]*?'''|"""[^]*?"""|'[^'\n]*'|"[^"\n]*")`;
const QUOTED = String.raw`'''(?:\\[^]|[^\\])*?'''|"""(?:\\[^]|[^\\])*?"""|'(?:\\[^]|[^'\\\n])*'|"(?:\\[^]|[^"\\\n])*"`;
/** Texts and comments, which stay as they are, and words; a field's name comes with its dot. */
const TOKENS = new RegExp(String.raw`${RAW}|${QUOTED}|//[^\n]*|\.\s*\w+|\w+`, 'g');

/** The condition with the variable `namespace` renamed; undefined where the author wrote the other name. */
export function renameNamespace(text: string): string | undefined {
  if (text.match(TOKENS)?.includes(NAMESPACE_ALIAS)) return undefined;
  return text.replace(TOKENS, (token) => (token === 'namespace' ? NAMESPACE_ALIAS : token));
}
