// The role's tag in a `jti`: the same everywhere, found again, and told apart from other ids.
import { expect } from 'chai';
import fc from 'fast-check';
import { findRoleTag, toRoleTag, toTokenId } from '../../../broker/tokens/token-id.ts';

describe('ids of tokens', () => {
  it('end in the first ten base64url characters of the SHA-256 of the role', () => {
    // printf %s payments-checkout | openssl dgst -sha256 -binary | base64 | tr +/ -_
    expect(toRoleTag('payments-checkout')).to.equal('xMbCLT5FGR');
    expect(toTokenId('an-id', 'payments-checkout')).to.equal('an-id.xMbCLT5FGR');
  });

  it('give their tag back, whatever the role is called', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.string(), (id, role) => {
        expect(findRoleTag(toTokenId(id, role))).to.equal(toRoleTag(role));
      }),
    );
  });

  it('have no tag where nobody put one', () => {
    for (const id of ['', 'an-id', 'an-id.short', 'an-id.eleven-char', '0123456789'])
      expect(findRoleTag(id), id).to.equal(undefined);
  });
});
