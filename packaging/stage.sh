#!/usr/bin/env bash
# Puts the files of the deb and of the rpm together, below target/stage: stage.sh DIR
# DIR has the compiled programs. The units, pages and manifests are those of the sources; what differs in a package
# is made here, and checked.
. "$(dirname "$0")/common.sh"
built=$1

rm -rf "$stage"
put() {
    install -D -m 0644 "$root/$1" "$stage/$2"
}

for program in "${programs[@]}"; do
    install -D -m 0755 "$built/$program" "$stage/usr/bin/$program"
done

# A package owns /usr/bin; /usr/local is for what an operator installs by hand.
for unit in "$root"/systemd/*.service "$root"/systemd/*.socket; do
    to=$stage/usr/lib/systemd/system/$(basename "$unit")
    install -D -m 0644 "$unit" "$to"
    sed -i 's#=/usr/local/bin/#=/usr/bin/#' "$to"
    ! grep -q /usr/local "$to" || fail "$unit names /usr/local in another place than at the start of a command"
    case $unit in
    *.service) [ "$(grep -c '=/usr/bin/vault-kms-plugin ' "$to")" = 2 ] || fail "$unit: not two commands of the plugin" ;;
    esac
done
put systemd/sysusers.d/$name.conf usr/lib/sysusers.d/$name.conf
put systemd/tmpfiles.d/$name.conf usr/lib/tmpfiles.d/$name.conf
put packaging/files/environment etc/$name/environment
put packaging/files/needrestart.conf etc/needrestart/conf.d/$name.conf

for page in "$root"/deploy/man/*; do
    to=$stage/usr/share/man/man${page##*.}/$(basename "$page").gz
    mkdir -p "$(dirname "$to")"
    gzip -9 --no-name <"$page" >"$to"
done
for program in "${programs[@]}"; do
    put deploy/completions/$program usr/share/bash-completion/completions/$program
    put deploy/completions/_$program completions/_$program
    put deploy/completions/$program.fish usr/share/fish/vendor_completions.d/$program.fish
done

for file in policy.hcl vault-setup.sh static-pod/$name.yaml schema/$name.schema.json monitoring/alerts.yaml monitoring/dashboard.json; do
    put deploy/$file usr/share/$name/$file
done
# The example is the one of the guide. An address and a token are still to be filled in, so that it is no
# configuration file of a package.
example=$stage/usr/share/$name/config.toml
sed -n '/^```toml$/,/^```$/{//!p}' "$root/docs/install/vault.md" >"$example"
grep -q '^\[transit\]' "$example" || fail "docs/install/vault.md has no configuration file"

for file in README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE; do
    put $file usr/share/doc/$name/$file
done

# Each script of dpkg and rpm begins with the functions that all of them use.
for script in "$root"/packaging/hooks/deb/* "$root"/packaging/hooks/rpm/*; do
    to=$stage/hooks/${script#"$root"/packaging/hooks/}
    mkdir -p "$(dirname "$to")"
    cat "$root/packaging/hooks/common.sh" "$script" >"$to"
    sh -n "$to"
done
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
