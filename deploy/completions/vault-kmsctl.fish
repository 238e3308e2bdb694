# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vault_kmsctl_global_optspecs
    string join \n h/help V/version
end

function __fish_vault_kmsctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vault_kmsctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vault_kmsctl_using_subcommand
    set -l cmd (__fish_vault_kmsctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -s h -l help -d 'Print help'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -s V -l version -d 'Print version'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -f -a "audit" -d 'Read everything in etcd, or in a snapshot: what encrypted it, whether it can be read, which key versions are needed'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -f -a "inspect" -d 'Show what a stored value says of itself: what encrypted it, with which key and version'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -f -a "migrate" -d 'Have kube-apiserver encrypt every object again whose stored form is out of date'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -f -a "rotate" -d 'Rotate the Transit key, wait until every kube-apiserver uses the new version, and encrypt everything again'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l snapshot -d 'Read this snapshot, or this copy of etcd\'s database, instead of a running etcd' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l backup -d 'A snapshot that may be restored one day: its key versions are needed, too. May be given several times' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l encryption-config -d 'EncryptionConfiguration of kube-apiserver: what should write each resource' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l config -d 'Ask Vault for the current key, with the configuration of the daemon (its default file without a name), and with the token in VAULT_TOKEN or a login of its own' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l key-id -d 'The current key_id, where Vault is not asked' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l list -d 'How many names of each finding are listed' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l metrics -d 'Also write metrics to this file, for the textfile collector of node_exporter' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l endpoints -d 'Addresses of etcd, separated by commas [default: ETCDCTL_ENDPOINTS, or --etcd-servers of kubeadm\'s kube-apiserver]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l cacert -d 'CA that issued etcd\'s certificate [default: ETCDCTL_CACERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l cert -d 'Client certificate for etcd [default: ETCDCTL_CERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l key -d 'Its key [default: ETCDCTL_KEY, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l prefix -d 'Prefix of kube-apiserver\'s keys [default: --etcd-prefix of kubeadm\'s kube-apiserver, or /registry]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l verify -d 'Prove that each object of KMS can be read: unwrap each seed once through Vault and check each object\'s tag. Uses the configuration of the daemon, as --config'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l namespaces -d 'Count by namespace, too. JSON always does'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -l json -d 'Print JSON'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand audit" -s h -l help -d 'Print help'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand inspect" -l json -d 'Print JSON'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l encryption-config -d 'The file of kube-apiserver\'s --encryption-provider-config: which resources are encrypted' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l kubeconfig -d 'Kubeconfig file; by default those of KUBECONFIG, else ~/.kube/config, else the service account of the pod' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l context -d 'Context of the kubeconfig; by default its current one' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l resource -d 'Only this resource, such as `secrets` or `widgets.example.org`. May be given several times' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l qps -d 'At most this many writes a second; 0 is no limit' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l workers -d 'How many writes may be in flight' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l page-size -d 'How many objects a page of a list has' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l method -d 'Who writes: a StorageVersionMigration of the kube-controller-manager (`svm`), this program (`direct`), or the first where the cluster has it' -r -f -a "auto\t'`svm` where the cluster has it and it is not known which objects are stale, else `direct`'
svm\t'A StorageVersionMigration'
direct\t'This program'"
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l state -d 'Keep in this file how far it is, and go on from there. It is removed at the end' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l endpoints -d 'Addresses of etcd, separated by commas [default: ETCDCTL_ENDPOINTS, or --etcd-servers of kubeadm\'s kube-apiserver]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l cacert -d 'CA that issued etcd\'s certificate [default: ETCDCTL_CACERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l cert -d 'Client certificate for etcd [default: ETCDCTL_CERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l key -d 'Its key [default: ETCDCTL_KEY, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l prefix -d 'Prefix of kube-apiserver\'s keys [default: --etcd-prefix of kubeadm\'s kube-apiserver, or /registry]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l allow-decrypt -d 'Also write resources whose first provider is identity: that decrypts them'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l dry-run -d 'Only print what would be written'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -l json -d 'Print JSON'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand migrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l config -d 'Configuration file of the daemon, which names Vault and the key; by default as the daemon finds it' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l encryption-config -d 'The file of kube-apiserver\'s --encryption-provider-config' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l token-file -d 'File with a token of Vault that may rotate the key; by default the variable VAULT_TOKEN. The daemon\'s own login is never used' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l timeout -d 'How long to wait for every kube-apiserver' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l apiserver -d 'URL of a kube-apiserver, such as `https://10.0.0.1:6443`; give each. By default those of the EndpointSlice default/kubernetes' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l provider -d 'Name of the KMS v2 provider of this plugin; by default those whose endpoint is socket.path' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l kubeconfig -d 'Kubeconfig file; by default those of KUBECONFIG, else ~/.kube/config, else the service account of the pod' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l context -d 'Context of the kubeconfig; by default its current one' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l resource -d 'Only this resource, such as `secrets` or `widgets.example.org`. May be given several times' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l qps -d 'At most this many writes a second; 0 is no limit' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l workers -d 'How many writes may be in flight' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l page-size -d 'How many objects a page of a list has' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l method -d 'Who writes: a StorageVersionMigration of the kube-controller-manager (`svm`), this program (`direct`), or the first where the cluster has it' -r -f -a "auto\t'`svm` where the cluster has it and it is not known which objects are stale, else `direct`'
svm\t'A StorageVersionMigration'
direct\t'This program'"
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l state -d 'Keep in this file how far it is, and go on from there. It is removed at the end' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l endpoints -d 'Addresses of etcd, separated by commas [default: ETCDCTL_ENDPOINTS, or --etcd-servers of kubeadm\'s kube-apiserver]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l cacert -d 'CA that issued etcd\'s certificate [default: ETCDCTL_CACERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l cert -d 'Client certificate for etcd [default: ETCDCTL_CERT, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l key -d 'Its key [default: ETCDCTL_KEY, or that of kubeadm\'s kube-apiserver]' -r -F
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l prefix -d 'Prefix of kube-apiserver\'s keys [default: --etcd-prefix of kubeadm\'s kube-apiserver, or /registry]' -r
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l wait -d 'Then wait until every kube-apiserver uses the new version, and write every object again'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l no-rotate -d 'Do not rotate, only what follows'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l allow-decrypt -d 'Also write resources whose first provider is identity: that decrypts them'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l dry-run -d 'Only print what would be written'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -l json -d 'Print JSON'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand help; and not __fish_seen_subcommand_from audit inspect migrate rotate help" -f -a "audit" -d 'Read everything in etcd, or in a snapshot: what encrypted it, whether it can be read, which key versions are needed'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand help; and not __fish_seen_subcommand_from audit inspect migrate rotate help" -f -a "inspect" -d 'Show what a stored value says of itself: what encrypted it, with which key and version'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand help; and not __fish_seen_subcommand_from audit inspect migrate rotate help" -f -a "migrate" -d 'Have kube-apiserver encrypt every object again whose stored form is out of date'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand help; and not __fish_seen_subcommand_from audit inspect migrate rotate help" -f -a "rotate" -d 'Rotate the Transit key, wait until every kube-apiserver uses the new version, and encrypt everything again'
complete -c vault-kmsctl -n "__fish_vault_kmsctl_using_subcommand help; and not __fish_seen_subcommand_from audit inspect migrate rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
