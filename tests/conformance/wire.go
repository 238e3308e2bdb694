package main

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The messages of KMS v2 as bytes: the checks send and see what is on the wire, whatever generated code
// a Kubernetes release has. They travel as the unknown fields of an empty message.

type statusResponse struct {
	version, healthz, keyID string
}

type encryptResponse struct {
	ciphertext  []byte
	keyID       string
	annotations map[string][]byte
}

// field is one of a message; each is a string, bytes, or an entry of a map.
type field struct {
	number protowire.Number
	value  []byte
}

func message(fields ...field) *emptypb.Empty {
	var encoded []byte
	for _, field := range fields {
		if len(field.value) > 0 {
			encoded = protowire.AppendTag(encoded, field.number, protowire.BytesType)
			encoded = protowire.AppendBytes(encoded, field.value)
		}
	}
	message := &emptypb.Empty{}
	message.ProtoReflect().SetUnknown(encoded)
	return message
}

// fieldsOf skips what is neither a string nor bytes.
func fieldsOf(message *emptypb.Empty) ([]field, error) {
	return fieldsIn(message.ProtoReflect().GetUnknown())
}

func fieldsIn(encoded []byte) ([]field, error) {
	var fields []field
	for len(encoded) > 0 {
		number, kind, size := protowire.ConsumeTag(encoded)
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		encoded = encoded[size:]
		size = protowire.ConsumeFieldValue(number, kind, encoded)
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(encoded)
			fields = append(fields, field{number, value})
		}
		encoded = encoded[size:]
	}
	return fields, nil
}

// annotationFields are the entries of a map in the field with this number.
func annotationFields(number protowire.Number, annotations map[string][]byte) []field {
	var fields []field
	for key, value := range annotations {
		entry := message(field{1, []byte(key)}, field{2, value})
		fields = append(fields, field{number, entry.ProtoReflect().GetUnknown()})
	}
	return fields
}

func readStatus(message *emptypb.Empty) (statusResponse, error) {
	var status statusResponse
	fields, err := fieldsOf(message)
	for _, field := range fields {
		switch field.number {
		case 1:
			status.version = string(field.value)
		case 2:
			status.healthz = string(field.value)
		case 3:
			status.keyID = string(field.value)
		}
	}
	return status, err
}

func readEncrypted(message *emptypb.Empty) (encryptResponse, error) {
	encrypted := encryptResponse{annotations: map[string][]byte{}}
	fields, err := fieldsOf(message)
	for _, field := range fields {
		switch field.number {
		case 1:
			encrypted.ciphertext = field.value
		case 2:
			encrypted.keyID = string(field.value)
		case 3:
			key, value, err := readEntry(field.value)
			if err != nil {
				return encrypted, err
			}
			encrypted.annotations[key] = value
		}
	}
	return encrypted, err
}

func readEntry(encoded []byte) (key string, value []byte, err error) {
	fields, err := fieldsIn(encoded)
	for _, field := range fields {
		if field.number == 1 {
			key = string(field.value)
		} else {
			value = field.value
		}
	}
	return key, value, err
}

// first is the value of the first field with this number.
func first(message *emptypb.Empty, number protowire.Number) ([]byte, error) {
	fields, err := fieldsOf(message)
	for _, field := range fields {
		if field.number == number {
			return field.value, err
		}
	}
	return nil, err
}
