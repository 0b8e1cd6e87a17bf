// The roles of `coatcheck dev` and `make demo` where the user gives none. Also the shortest example of a role file.

export const DEMO_ROLES = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-checkout }
spec:
  audience: payments
  subjects:
    - { namespace: shop, serviceAccount: checkout }
  token:
    ttl: 15m
    scopes: [payments:read]
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: orders-shop }
spec:
  audience: orders
  subjects:
    - { namespace: shop, serviceAccount: "*" }
  token:
    ttl: 5m
    scopes: [orders:read, orders:write]
`;
